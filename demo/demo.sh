#!/bin/sh
# make demo: build sluice, stream this machine's load to a page, print the page's URL.
set -eu
cd "$(dirname "$0")/.."
port=${PORT:-8080}

missing=
command -v "${CC:-cc}" >/dev/null || missing="gcc libc6-dev"
[ -e /usr/include/bearssl.h ] || missing="$missing libbearssl-dev"
if [ -n "$missing" ]; then
	echo "make demo: installing Debian packages, which build sluice: $missing"
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	$root apt-get update -qq
	# shellcheck disable=SC2086
	$root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
make -s sluice

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 0' INT TERM
(umask 077; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$dir/secret")
token=$(./sluice token --secret-file "$dir/secret" --ttl 3600 --subject demo)

echo "Streaming this machine's load. Open one of these within the hour (Ctrl-C ends it):"
echo
echo "    http://localhost:$port/#t=$token"
for ip in $(hostname -I 2>/dev/null); do
	case $ip in
	*:*) ;;
	*) echo "    http://$ip:$port/#t=$token" ;;
	esac
done
echo
echo "Anyone with that link can watch until it expires. Another port: PORT=8081 make demo"
echo

# The link may be opened again, which a token for one connection would not allow.
user=
[ "$(id -u)" != 0 ] || user="--user nobody"
# shellcheck disable=SC2086
sh demo/load.sh | ./sluice --listen ":$port" --secret-file "$dir/secret" --token-use many $user \
	--page --replay 120
