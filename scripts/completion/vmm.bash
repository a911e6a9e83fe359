# Completion of vmm for bash: source this file, or put it where bash-completion looks.
# Options, and the commands of `vmm ctl`, come from the program's own --help.

_vmm_options() {
  case $2 in
    # The options that it shares with --domain are in its text.
    run) "$1" run --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]+' | grep -vx -- '--domain' ;;
    clone) "$1" clone --help 2>/dev/null | grep -oE -- '^  (-h, )?--[a-z-]+' | grep -oE -- '--[a-z-]+' ;;
    list) "$1" list --help 2>/dev/null | sed -n '/^Usage:/p' | grep -oE -- '--[a-z]+' ;;
    ctl) _vmm_ctl_options "$1" ;;
    *) "$1" --help 2>/dev/null | grep -oE -- '^  (-h, )?--[a-z-]+' | grep -oE -- '--[a-z-]+' ;;
  esac | sort -u
}

# What may follow an option; fails where that is a file or anything else.
_vmm_values() {
  case $1 in
    --ephemeral) echo memory ;;
    --log-level) echo debug info warning error off ;;
    --machine) echo pc microvm ;;
    --net) echo user none tap: bridge: ;;
    --message-format) echo text json ;;
    --print-example) echo minimal install throwaway microvm ;;
    --format) echo raw qcow2 ;;
    --output) echo human json ;;
    --set) "${COMP_WORDS[0]}" --set help 2>/dev/null | sed -n 's/ .*//; s/^[^*]*$/&=/p' ;;
    *) return 1 ;;
  esac
}

# Domains that --domain finds by their names.
_vmm_domains() {
  local file
  for file in ./*.xml "${XDG_CONFIG_HOME:-$HOME/.config}"/vmm/*.xml /etc/libvirt/qemu/*.xml; do
    if [ -f "$file" ]; then
      basename "$file" .xml
    fi
  done
}

# Guests that run.
_vmm_guests() {
  local folder
  for folder in "${XDG_RUNTIME_DIR:-/run}"/vmm/*/ /run/vmm/*/; do
    if [ -e "$folder/control" ]; then
      basename "$folder"
    fi
  done | sort -u
}

# Those of its command, from the lines that the command has in the help.
_vmm_ctl_options() {
  local group kind
  if [ "${COMP_WORDS[3]}" = throttle ]; then
    for group in total read write; do
      for kind in bytes-sec iops-sec; do
        printf -- "--$group-$kind%s\n" "" -max -max-length
      done
    done
    echo --size-iops-sec
  else
    "$1" ctl --help 2>/dev/null | sed -n "/^  ${COMP_WORDS[3]} /p" | grep -oE -- '--[a-z]+'
  fi
  echo --output
}

# Its disks and discs: vmm ctl GUEST status tells them with two spaces before.
_vmm_disks() {
  "$1" ctl "$2" status 2>/dev/null | sed -n "s/^  \([a-z]*\)  *$3 .*/\1/p"
}

_vmm_interfaces() {
  "$1" ctl "$2" status 2>/dev/null | sed -n 's/^  \([^ ]*\)  *net  .*/\1/p'
}

_vmm_ctl() {
  case $COMP_CWORD in
    2) _vmm_guests ;;
    3) "${COMP_WORDS[0]}" ctl --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' ;;
    4)
      case ${COMP_WORDS[3]} in
        boot-once) _vmm_disks "${COMP_WORDS[0]}" "${COMP_WORDS[2]}" '[cd][a-z]*' ;;
        throttle | resize | snapshot | commit | stream | backup | follow | cancel)
          _vmm_disks "${COMP_WORDS[0]}" "${COMP_WORDS[2]}" disk ;;
        eject | insert | change) _vmm_disks "${COMP_WORDS[0]}" "${COMP_WORDS[2]}" cdrom ;;
        link) echo up down; _vmm_interfaces "${COMP_WORDS[0]}" "${COMP_WORDS[2]}" ;;
        *) return 1 ;;
      esac ;;
    5)
      case ${COMP_WORDS[3]} in
        link) echo up down ;;
        *) return 1 ;;
      esac ;;
    *) return 1 ;;
  esac
}

_vmm() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
  local command=${COMP_WORDS[1]}
  COMPREPLY=()
  if [ "$before" = = ] && words=$(_vmm_values "${COMP_WORDS[COMP_CWORD - 2]}"); then
    :
  elif [ "$current" = = ] && words=$(_vmm_values "$before"); then
    current=
  elif [ "$before" != --ephemeral ] && words=$(_vmm_values "$before"); then  # it takes its value behind a = only
    :
  elif [ "$before" = --domain ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_vmm_domains)" -- "$current"; compgen -f -- "$current")
    return
  elif [[ $current == -* ]]; then
    words=$(_vmm_options "$program" "$command")
  elif [ "$COMP_CWORD" -eq 1 ]; then
    words="run clone ctl list --domain --help --version"
  elif [ "$command" = ctl ] && words=$(_vmm_ctl); then
    :
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [ "$before" = --set ]; then  # a value follows
    compopt -o nospace 2>/dev/null
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _vmm vmm
