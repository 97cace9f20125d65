# NixOS: services.fip. The unit is that of packaging/fip.service.
self: {
  config,
  lib,
  pkgs,
  ...
}: let
  cfg = config.services.fip;
  toml = pkgs.formats.toml {};
  settingsFile = toml.generate "fip.toml" cfg.settings;
in {
  options.services.fip = {
    enable = lib.mkEnableOption "the FIP server";

    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = lib.literalExpression "fip.packages.\${system}.default";
      description = "The package to run.";
    };

    settings = lib.mkOption {
      type = lib.types.submodule {
        freeformType = toml.type;
        options = {
          host = lib.mkOption {
            type = lib.types.str;
            default = "127.0.0.1";
            description = "Address to listen on; `0.0.0.0` or `::` for all.";
          };
          port = lib.mkOption {
            type = lib.types.port;
            default = 6090;
            description = "Port to listen on.";
          };
          log_format = lib.mkOption {
            type = lib.types.enum ["pretty" "json"];
            default = "json";
            description = "How records of the log are written.";
          };
        };
      };
      default = {};
      example = {
        host = "0.0.0.0";
        registration = "invite";
        bytes_per_user = "50 GiB";
      };
      description = "Settings by their names in the config file. They are readable by everybody: secrets go into `environmentFile`.";
    };

    environmentFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/secrets/fip";
      description = "A file with further settings as variables, such as `FIP_DATABASE_URL`.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether others may reach the port.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [cfg.package];
    networking.firewall.allowedTCPPorts = lib.optional cfg.openFirewall cfg.settings.port;

    systemd.services.fip = {
      description = "File Interaction Protocol server";
      documentation = ["man:fip(1)"];
      wants = ["network-online.target"];
      after = ["network-online.target" "postgresql.service"];
      wantedBy = ["multi-user.target"];
      # For systemd-notify, which tells that the server is ready.
      path = [pkgs.systemd];
      environment = {
        FIP_DATA_DIR = "/var/lib/fip";
        XDG_CACHE_HOME = "/var/cache/fip";
      };
      # Many settings change without a restart.
      reloadTriggers = [config.environment.etc."fip/fip.toml".source];
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "all";
        ExecStart = "${lib.getExe cfg.package} serve --config /etc/fip/fip.toml";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        EnvironmentFile = lib.optional (cfg.environmentFile != null) cfg.environmentFile;
        Restart = "on-failure";
        RestartSec = 2;
        TimeoutStartSec = 120;
        TimeoutStopSec = 25;
        WatchdogSec = 120;

        DynamicUser = true;
        User = "fip";
        StateDirectory = "fip";
        StateDirectoryMode = "0700";
        CacheDirectory = "fip";
        CacheDirectoryMode = "0700";
        UMask = "0077";
        LimitNOFILE = 16384;

        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProcSubset = "pid";
        NoNewPrivileges = true;
        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        LockPersonality = true;
        PrivateUsers = true;
        RemoveIPC = true;
        RestrictAddressFamilies = ["AF_INET" "AF_INET6" "AF_UNIX"];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = ["@system-service" "~@privileged @resources"];
        SystemCallErrorNumber = "EPERM";
      };
    };

    environment.etc."fip/fip.toml".source = settingsFile;
  };
}
