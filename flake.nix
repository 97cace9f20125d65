{
  description = "File Interaction Protocol: a place for a group's files";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs = {
    self,
    nixpkgs,
  }: let
    systems = ["x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin"];
    forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
  in {
    packages = forAll (pkgs: {
      default = pkgs.buildNpmPackage {
        pname = "fip";
        version = (builtins.fromJSON (builtins.readFile ./package.json)).version;
        src = self;
        nodejs = pkgs.nodejs_24;
        # Reads the hashes from the lock file, so that no other one needs to be kept.
        npmDeps = pkgs.importNpmLock {npmRoot = self;};
        npmConfigHook = pkgs.importNpmLock.npmConfigHook;
        npmBuildScript = "build";
        # The lock brings its own Node and databases for tests; the package runs on the one from here.
        npmFlags = ["--ignore-scripts"];
        meta.mainProgram = "fip";
      };
    });

    devShells = forAll (pkgs: {
      default = pkgs.mkShell {
        packages = [pkgs.nodejs_24 pkgs.postgresql pkgs.openssh];
      };
    });

    formatter = forAll (pkgs: pkgs.alejandra);
  };
}
