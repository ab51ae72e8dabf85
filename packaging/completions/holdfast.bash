# bash completion for holdfast: commands and options are asked of the tool itself, ids of its ps.
_holdfast()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} rows arg
	local tab=$'\t'

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		rows=$(holdfast __complete 2>/dev/null | cut -f1)
		mapfile -t COMPREPLY < <(compgen -W "$rows --help --version" -- "$cur")
		return
	fi
	rows=$(holdfast __complete "${COMP_WORDS[1]}" 2>/dev/null)
	# behind an option that takes a value: files, where it wants one
	arg=$(awk -F "$tab" -v o="$prev" '$1 == o { print $2 }' <<<"$rows")
	if [[ $prev == --* && -n $arg ]]; then
		case $arg in
		FILE | DIR | PATH)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			;;
		esac
		return
	fi
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cut -f1 <<<"$rows" | grep '^--')" -- "$cur")
	elif grep -q '^ID' <<<"$rows"; then
		mapfile -t COMPREPLY < <(compgen -W "$(holdfast ps -aq 2>/dev/null)" -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _holdfast holdfast
