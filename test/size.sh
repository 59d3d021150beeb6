#!/bin/sh
# make size: the size of the stripped binary and of the static ones that are built, and memory at
# rest, in KiB.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d) pid=
trap '[ -z "$pid" ] || kill $pid; rm -rf "$dir"' EXIT
mkfifo "$dir/in" "$dir/err"

kib() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$pid/status"; }

rest() {	# BINARY OPTION...: a line of what it has at rest
	"$@" --no-auth --listen 127.0.0.1:0 --source "fifo:$dir/in" 2> "$dir/err" &
	pid=$!
	while read -r line; do
		case $line in
		*source=*|*"as root"*) ;;
		*event=listening*) break ;;
		esac
	done < "$dir/err" 3< "$dir/err"
	shift
	printf 'at rest         %6d KiB resident, of which %d KiB are its own%s\n' "$(kib VmRSS)" "$(kib RssAnon)" "${*:+ $*}"
	kill $pid
	wait $pid || :
	pid=
}

# The least of a ring for which a message has half of it.
small='--buffer 64K --max-message 32K --max-clients 256'
strip -o "$dir/sluice" sluice
printf 'stripped binary %6d bytes (the page is %d of them)\n' "$(wc -c < "$dir/sluice")" "$(grep -o 0x build/page.c | wc -l)"
rest "$dir/sluice"
printf 'linked with     %s\n' "$(ldd "$dir/sluice" | awk '/=>/ { printf "%s%s", sep, $1; sep = " " }')"
for f in build/static/*/sluice; do
	[ -e "$f" ] || continue
	arch=${f#build/static/} arch=${arch%/sluice}
	printf 'static %-8s %6d bytes\n' "$arch" "$(wc -c < "$f")"
	[ "$arch" = "$(uname -m)" ] || continue
	rest "$f"
	# shellcheck disable=SC2086
	rest "$f" $small
done
