# Completion of ringboltd for fish.
complete -c ringboltd -f
complete -c ringboltd -l config -r -F -d 'the configuration file'
complete -c ringboltd -l check -d 'check the configuration file and exit'
complete -c ringboltd -l log-level -x -a 'debug info warn error' -d 'least that is logged'
complete -c ringboltd -l log-format -x -a 'text json' -d 'how lines of the log look'
complete -c ringboltd -l describe-config -d 'list the keys of the configuration file'
complete -c ringboltd -s h -l help -d 'print a summary of the options'
complete -c ringboltd -l version -d 'print the version'
