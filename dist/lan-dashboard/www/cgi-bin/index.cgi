#!/bin/sh
# index.cgi - sends who has logged in on to sluice's page, with a token that is good for an hour.
# httpd has looked at the password by then; REMOTE_USER is who it was.

# reply STATUS HEADER
reply() {
	printf 'Status: %s\r\nCache-Control: no-store\r\n%s\r\n\r\n' "$1" "$2"
}

if [ -z "$REMOTE_USER" ]; then
	reply '403 Forbidden' 'Content-Type: text/plain'
	echo 'There are no users yet, see README.md.'
	exit
fi

# The board's name as the browser calls it, without a port.
case $HTTP_HOST in
*[!][a-zA-Z0-9.:-]*) host= ;;
*]) host=$HTTP_HOST ;;
*) host=${HTTP_HOST%:*} ;;
esac

if [ -n "$host" ] && token=$(sluice token --secret-file /run/lan-dashboard/secret \
	--ttl 3600 --subject "$REMOTE_USER"); then
	reply '302 Found' "Location: http://$host:$STREAM_PORT/#t=$token"
else
	reply '500 Internal Server Error' 'Content-Type: text/plain'
	echo 'There is no token.'
fi
