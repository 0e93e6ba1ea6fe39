# Completion of ringboltctl for fish. Which words can come next is known to the program itself, volumes and replicas to the
# daemon, if it answers.
function __ringboltctl_candidates
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    $program __complete $words (commandline -ct) 2>/dev/null
end
complete -c ringboltctl -f -a '(__ringboltctl_candidates)'
