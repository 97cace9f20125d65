{
  description = "File Interaction Protocol: a place for a group's files";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs = {
    self,
    nixpkgs,
  }: let
    systems = ["x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin"];
    forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

    # The lock has hashes and no addresses, which Nix needs.
    lock = builtins.fromJSON (builtins.readFile ./package-lock.json);
    located = path: entry: let
      name = entry.name or (builtins.elemAt (builtins.match "(.*/)?node_modules/(.+)" path) 1);
      base = builtins.elemAt (builtins.match "(@[^/]+/)?(.+)" name) 1;
    in
      if path == "" || entry ? resolved || !(entry ? integrity)
      then entry
      else entry // {resolved = "https://registry.npmjs.org/${name}/-/${base}-${entry.version}.tgz";};
  in {
    packages = forAll (pkgs: {
      default = pkgs.buildNpmPackage {
        pname = "fip";
        version = (builtins.fromJSON (builtins.readFile ./package.json)).version;
        src = self;
        nodejs = pkgs.nodejs_24;
        # Reads the hashes from the lock file, so that no other one needs to be kept.
        npmDeps = pkgs.importNpmLock {
          npmRoot = self;
          packageLock = lock // {packages = builtins.mapAttrs located lock.packages;};
        };
        npmConfigHook = pkgs.importNpmLock.npmConfigHook;
        npmBuildScript = "build";
        # The lock brings its own Node and databases for tests; the package runs on the one from here.
        npmFlags = ["--ignore-scripts"];
        nativeBuildInputs = [pkgs.installShellFiles];
        postInstall = "installManPage packaging/fip.1";
        meta.mainProgram = "fip";
      };
    });

    nixosModules.default = import ./packaging/nixos.nix self;

    devShells = forAll (pkgs: {
      default = pkgs.mkShell {
        packages = [pkgs.nodejs_24 pkgs.postgresql pkgs.openssh];
      };
    });

    formatter = forAll (pkgs: pkgs.alejandra);
  };
}
