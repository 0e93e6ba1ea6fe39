# Completion of ringboltd for bash.
_ringboltd() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  if [[ $current == = ]]; then
    current=''
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $previous in
    --config) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$current") ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W 'debug info warn error' -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W '--config --check --log-level --log-format --describe-config --help --version' -- "$current") ;;
  esac
}
complete -o filenames -F _ringboltd ringboltd
