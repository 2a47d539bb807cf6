#!/bin/sh
# The store and the user stay: what was acknowledged is nobody's to delete but yours.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ] && [ -d /var/lib/dictwire ]; then
	echo "the records stay in /var/lib/dictwire"
fi
