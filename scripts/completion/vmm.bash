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
    --ephemeral) printf '%s\n' memory ;;
    --log-level) printf '%s\n' debug info warning error off ;;
    --machine) printf '%s\n' pc microvm ;;
    --net) printf '%s\n' user none tap: bridge: ;;
    --message-format) printf '%s\n' text json ;;
    --print-example) printf '%s\n' minimal install throwaway microvm ;;
    --format) printf '%s\n' raw qcow2 ;;
    --output) printf '%s\n' human json ;;
    --mode) printf '%s\n' absolute-paths existing ;;
    --sync) printf '%s\n' full top ;;
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

# Its disks, discs, consoles and interfaces: vmm ctl GUEST status tells them with two spaces before.
_vmm_devices() {
  timeout 2 "$1" ctl "$2" status 2>/dev/null | sed -n "s/^  \([^ ][^ ]*\)  *$3 .*/\1/p"
}

# Of the words, one in a line, those that begin so. Nothing in them is for the shell.
_vmm_match() {
  local word
  while IFS= read -r word; do
    if [ -n "$word" ] && [[ $word == "$2"* ]]; then
      COMPREPLY+=("$word")
    fi
  done <<<"$1"
}

_vmm_ctl() {
  local guest=${COMP_WORDS[2]//\\/}
  guest=${guest//[\'\"]/}
  case $COMP_CWORD in
    2)
      case $1 in
        */*) return 1 ;;  # the path of a socket
        -*) echo --help ;;
        *) _vmm_guests ;;
      esac ;;
    3) "${COMP_WORDS[0]}" ctl --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' ;;
    4)
      case ${COMP_WORDS[3]} in
        boot-once) _vmm_devices "${COMP_WORDS[0]}" "$guest" '\(disk\|cdrom\)' ;;
        throttle | resize | snapshot | commit | stream | backup | follow | cancel)
          _vmm_devices "${COMP_WORDS[0]}" "$guest" disk ;;
        eject | insert | change) _vmm_devices "${COMP_WORDS[0]}" "$guest" cdrom ;;
        console) _vmm_devices "${COMP_WORDS[0]}" "$guest" console ;;
        link) printf '%s\n' up down; _vmm_devices "${COMP_WORDS[0]}" "$guest" net ;;
        *) return 1 ;;
      esac ;;
    5)
      case ${COMP_WORDS[3]} in
        link) printf '%s\n' up down ;;
        *) return 1 ;;
      esac ;;
    *) return 1 ;;
  esac
}

_vmm() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
  local command=${COMP_WORDS[1]}
  current=${current//\\/}  # of a name with spaces
  COMPREPLY=()
  if [ "$before" = = ] && words=$(_vmm_values "${COMP_WORDS[COMP_CWORD - 2]}"); then
    :
  elif [ "$current" = = ] && words=$(_vmm_values "$before"); then
    current=
  elif [ "$before" != --ephemeral ] && words=$(_vmm_values "$before"); then  # it takes its value behind a = only
    :
  elif [ "$before" = --domain ]; then
    _vmm_match "$(_vmm_domains)" "$current"
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
    return
  elif [ "$command" = ctl ] && [ "$COMP_CWORD" -eq 2 ] && words=$(_vmm_ctl "$current"); then
    :
  elif [[ $current == -* ]]; then
    words=$(_vmm_options "$program" "$command")
  elif [ "$COMP_CWORD" -eq 1 ]; then
    words=$(printf '%s\n' run clone ctl list --domain --help --version)
  elif [ "$command" = ctl ] && words=$(_vmm_ctl "$current"); then
    :
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [ "$before" = --set ]; then  # a value follows
    compopt -o nospace 2>/dev/null
  fi
  _vmm_match "$words" "$current"
}

complete -o filenames -F _vmm vmm
