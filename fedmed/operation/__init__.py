"""What the services of both roles are run with: health, metrics, signals, systemd, logs, backups, wheelhouses."""
