#!/bin/sh
# The user of the service, its state directory, and the service itself.
set -e
if ! getent passwd dictwire >/dev/null; then
	if command -v adduser >/dev/null && [ -e /etc/debian_version ]; then
		adduser --system --quiet --group --home /var/lib/dictwire --no-create-home dictwire
	else
		useradd --system --user-group --home-dir /var/lib/dictwire --no-create-home --shell /usr/sbin/nologin dictwire
	fi
fi
install -d -o dictwire -g dictwire -m 0700 /var/lib/dictwire
chgrp dictwire /etc/dictwire /etc/dictwire/dictwire.yaml
chmod 0750 /etc/dictwire
chmod 0640 /etc/dictwire/dictwire.yaml
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable --quiet dictwire.socket dictwire.service
	systemctl start dictwire.socket
	systemctl restart dictwire.service
fi
