#!/bin/sh
# Ends the service where the package goes, not where another version takes its place:
# that is restarted with it.
set -e
case "$1" in
upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl disable --quiet --now dictwire.service dictwire.socket || true
fi
