#!/bin/sh
# make size: the size of the stripped binary, and its memory at rest, in KiB.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'kill $pid 2>/dev/null || :; rm -rf "$dir"' EXIT
strip -o "$dir/sluice" sluice
mkfifo "$dir/in" "$dir/err"
"$dir/sluice" --no-auth --listen 127.0.0.1:0 --source "fifo:$dir/in" 2> "$dir/err" &
pid=$!
while read -r line; do
	case $line in
	*source=*|*"as root"*) ;;
	*event=listening*) break ;;
	esac
done < "$dir/err" 3< "$dir/err"
kib() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$pid/status"; }
printf 'stripped binary %6d bytes (the page is %d of them)\n' "$(wc -c < "$dir/sluice")" "$(grep -o 0x build/page.c | wc -l)"
printf 'at rest         %6d KiB resident, of which %d KiB are its own (the rest is libc, shared)\n' \
	"$(kib VmRSS)" "$(kib RssAnon)"
printf 'linked with     %s\n' "$(ldd "$dir/sluice" | awk '/=>/ { printf "%s%s", sep, $1; sep = " " }')"
