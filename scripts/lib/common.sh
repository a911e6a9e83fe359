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

# Fetches a Debian package and unpacks it to a folder, which is there whole or not at all. Further arguments: a command
# that is run with the unpacked folder before that.
unpack_package() {
  local package=$1 folder=$2 temp
  shift 2
  say "${0##*/}: fetching $package"
  temp=$(mktemp -d "$folder.XXXXXX")
  # shellcheck disable=SC2064 # the folder's name of now is meant
  trap "rm -rf '$temp'" EXIT
  apt_lists_present || apt_update
  download_package "$package" "$temp" || { apt_update; download_package "$package" "$temp"; } ||
    die "apt-get could not download $package"
  mkdir "$temp/root"
  dpkg-deb -x "$temp"/*.deb "$temp/root"
  [ $# = 0 ] || "$@" "$temp/root"
  mv -T "$temp/root" "$folder"
  rm -rf "$temp"
}

download_package() { (cd "$2" && apt-get -q -o APT::Sandbox::User=root download "$1" >&2); }
