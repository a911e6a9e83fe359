# shellcheck shell=bash
# What the shell scripts of this folder share. Sourced, never run.

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Where downloaded kernels and built guest images are kept between runs. HOME may be unset under CI.
cache_dir() {
  local home=${HOME:-}
  [ -n "$home" ] || home=$(getent passwd "$(id -u)" | cut -d: -f6)
  printf '%s\n' "${VMM_CACHE:-${XDG_CACHE_HOME:-${home:-/var/tmp}/.cache}/vmm}"
}

# Runs a command as root: directly, or through sudo, which it says.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    say "${0##*/}: running with sudo: $*"
    sudo "$@"
  else
    die "needs root for: $* (run it as root, or install sudo)"
  fi
}

# apt keeps its lists here; containers are often shipped without any.
apt_lists_present() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

apt_update() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o APT::Sandbox::User=root update >&2 ||
    die "apt-get update failed (is the Debian mirror in /etc/apt reachable?)"
}
