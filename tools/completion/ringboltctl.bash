# Completion of ringboltctl for bash. Which words can come next is known to the program itself, volumes and replicas to
# the daemon, if it answers.
_ringboltctl() {
  local words=() word glue='' i
  # bash cuts words at "=" and ":", too: they are put together again.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ ${#words[@]} -gt 0 && ( $glue || $word =~ ^[=:]+$ ) ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
    glue=''
    [[ $word =~ ^[=:]+$ ]] && glue=yes
  done
  # What it replaces is only what follows the last of them.
  local before=''
  [[ ${words[-1]} == *[=:]* ]] && before=${words[-1]%"${words[-1]##*[=:]}"}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    COMPREPLY+=("${word#"$before"}")
  done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
  # A directory goes on; outside of a completion there is nothing to tell that to.
  [[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
}
complete -F _ringboltctl ringboltctl
