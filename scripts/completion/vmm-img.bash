# Completion of vmm-img for bash: source this file, or put it where bash-completion looks.
# Commands and options come from the program's own --help.

_vmm_img_words() {
  "$1" "${@:2}" --help 2>/dev/null
}

_vmm_img_commands() {
  _vmm_img_words "$1" | sed -n '/^Subcommands:/,$s/^  \([a-z]\{2,\}\) .*/\1/p'
}

_vmm_img_options() {
  _vmm_img_words "$1" "$2" | sed -n 's/^  \(-[^ ]*\).*/\1/p' | tr ',' '\n'
}

# What may follow an option; fails where that is a file or anything else.
_vmm_img_values() {
  case $1 in
    -f | -F | -O | --format | --backing-format) echo raw qcow2 qcow iso ;;
    -t | -T) echo none writeback writethrough directsync unsafe ;;
    --output) echo human json ;;
    --preallocation) echo off metadata falloc full ;;
    *) return 1 ;;
  esac
}

_vmm_img() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="$(_vmm_img_commands "$program") --help --version"
  elif [ "$before" = = ] && words=$(_vmm_img_values "${COMP_WORDS[COMP_CWORD - 2]}"); then
    :
  elif [ "$current" = = ] && words=$(_vmm_img_values "$before"); then
    current=
  elif words=$(_vmm_img_values "$before"); then
    :
  elif [[ $current == -* ]]; then
    words=$(_vmm_img_options "$program" "${COMP_WORDS[1]}")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _vmm_img vmm-img
