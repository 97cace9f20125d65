/**
 * What is in packaging/ and flake.nix, as far as it can be tried without a running systemd, a container engine and nixpkgs:
 * systemd's own checks of the unit, and the flake evaluated with a stand-in for nixpkgs that has what it uses. Where one of
 * the tools is not installed, its tests are left out.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const has = (tool: string): boolean => spawnSync(tool, ["--version"]).status === 0

/** The entries of a section of a unit; what is given several times has several. */
const entriesOf = (unit: string, section: string): ReadonlyMap<string, ReadonlyArray<string>> => {
  const entries = new Map<string, Array<string>>()
  const text = unit.split(`[${section}]\n`)[1]?.split(/^\[/m)[0] ?? ""
  for (const [, key = "", value = ""] of text.matchAll(/^(\w+)=(.*)$/gm)) {
    entries.set(key, [...entries.get(key) ?? [], value])
  }
  return entries
}

describe("packaging/fip.service", () => {
  it.skipIf(!has("systemd-analyze"))("is a unit that systemd takes, and as closed as the manual says", () => {
    const folder = mkdtempSync(join(tmpdir(), "fip-test-"))
    try {
      // Neither the program nor its manual is installed here.
      const unit = join(folder, "fip.service")
      const here = read("packaging/fip.service").replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`).replace(
        /^Documentation=.*\n/m,
        ""
      )
      writeFileSync(unit, here)
      const verified = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" })
      // It may have something to say of the machine, too.
      const said = verified.stderr.split("\n").filter((line) => line.includes("fip.service"))
      assert.deepStrictEqual([verified.status, said], [0, []])
      const judged = spawnSync("systemd-analyze", ["security", "--offline=true", "--no-pager", unit], {
        encoding: "utf8"
      })
      const [, exposure] = /exposure level for fip\.service: ([\d.]+)/.exec(judged.stdout) ?? []
      const [, promised] = /an exposure of ([\d.]+)/.exec(read("docs/operations.md")) ?? []
      assert.isAtMost(Number(exposure), Number(promised))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

/** What of nixpkgs the flake and the module use. */
const NIXPKGS = `
rec {
  lib = {
    genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    mkEnableOption = text: { option = text; };
    mkOption = option: option;
    mkIf = condition: value: if condition then value else {};
    optional = condition: value: if condition then [ value ] else [];
    getExe = package: "\${package}/bin/fip";
    literalExpression = text: text;
    types = {
      package = "package"; str = "str"; port = "port"; path = "path"; bool = "bool";
      enum = values: values; nullOr = type: type; submodule = module: module;
    };
  };
  pkgs = system: {
    inherit lib;
    stdenv.hostPlatform.system = system;
    formats.toml = _: { type = "toml"; generate = name: value: { inherit name value; }; };
    systemd = "/systemd"; coreutils = "/coreutils"; nodejs_24 = "/node"; postgresql = "/postgresql";
    openssh = "/openssh"; alejandra = "/alejandra"; installShellFiles = "/installShellFiles";
    buildNpmPackage = package: package;
    mkShell = shell: shell;
    importNpmLock = { __functor = _: lock: lock; npmConfigHook = "/hook"; };
  };
  legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ] pkgs;
}`

/** Evaluates an expression in which \`flake\` is what flake.nix gives. */
const evaluate = (expression: string): unknown => {
  const { status, stderr, stdout } = spawnSync(
    "nix-instantiate",
    [
      "--store",
      "dummy://",
      "--eval",
      "--strict",
      "--json",
      "-E",
      `let
        nixpkgs = ${NIXPKGS};
        self = { packages.x86_64-linux.default = "/fip"; outPath = "/source"; };
        flake = (import ${join(root, "flake.nix")}).outputs { inherit self nixpkgs; };
      in ${expression}`
    ],
    { encoding: "utf8" }
  )
  assert.strictEqual(status, 0, stderr)
  return JSON.parse(stdout)
}

/** The module with settings, as an expression. */
const module = (settings: string): string =>
  `(flake.nixosModules.default {
    lib = nixpkgs.lib;
    pkgs = nixpkgs.legacyPackages.x86_64-linux;
    config = {
      services.fip = { enable = true; package = "/fip"; environmentFile = null; openFirewall = true; ${settings} };
      environment.etc."fip/fip.toml".source = "/etc/fip.toml";
    };
  })`

describe.skipIf(!has("nix-instantiate"))("flake.nix", () => {
  it("has a package that is fetched by the lock file alone, for every system", () => {
    const packages = evaluate(
      `builtins.mapAttrs (_: { default }: {
        inherit (default) version npmBuildScript;
        unlocated = builtins.filter
          (entry: entry ? integrity && !(entry ? resolved))
          (builtins.attrValues default.npmDeps.packageLock.packages);
        fetched = builtins.map (entry: entry.resolved or "") (builtins.attrValues default.npmDeps.packageLock.packages);
      }) flake.packages`
    ) as Readonly<
      Record<string, { version: string; unlocated: ReadonlyArray<unknown>; fetched: ReadonlyArray<string> }>
    >
    const { version } = JSON.parse(read("package.json"))
    assert.lengthOf(Object.keys(packages), 4)
    for (const each of Object.values(packages)) {
      assert.deepStrictEqual([each.version, each.unlocated], [version, []])
      assert.isTrue(each.fetched.some((url) => /\/effect\/-\/effect-[\d.]+\.tgz$/.test(url)))
    }
    assert.deepStrictEqual(evaluate("builtins.attrNames flake.devShells"), Object.keys(packages))
  })

  it("has a module whose unit is packaging/fip.service", () => {
    const { serviceConfig } = evaluate(`${module("settings.port = 7000;")}.config.systemd.services.fip`) as {
      readonly serviceConfig: Readonly<Record<string, unknown>>
    }
    const unit = entriesOf(read("packaging/fip.service"), "Service")
    const differing = [...unit].flatMap(([key, values]) => {
      if (["Environment", "EnvironmentFile", "ExecStart", "ExecReload"].includes(key)) return []
      const own = serviceConfig[key]
      const [a, b] = [values.join(","), Array.isArray(own) ? own.join(",") : String(own)].map((text) =>
        text.replaceAll(/[, ]+/g, " ").replaceAll(/\byes\b/g, "true")
      )
      return a === b ? [] : [{ key, unit: a, module: b }]
    })
    assert.deepStrictEqual(differing, [])
    const opened = evaluate(`${module("settings.port = 7000;")}.config.networking.firewall.allowedTCPPorts`)
    assert.deepStrictEqual(opened, [7000])
  })
})
