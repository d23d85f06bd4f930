#!/bin/bash
# The zone of the rehearsal, with a key that may change one name's CNAME. Key and zone are made at the first start and stay in
# their volumes: a zone that was made anew would lead clients back to a primary that is lost.
set -euo pipefail
umask 027
if [ ! -e /keys/tsig ]; then
    tsig-keygen ferry >/keys/key.conf
    sed -n 's/.*secret "\(.*\)";.*/\1/p' /keys/key.conf >/keys/tsig
    chown root:946 /keys/tsig && chmod 640 /keys/tsig # the group of `ferry` in its image
    chown root:bind /keys/key.conf && chmod 640 /keys/key.conf
    chmod 755 /keys
fi
[ -e /zone/rehearsal.test ] || cp /etc/rehearsal/rehearsal.test /zone/rehearsal.test
chown -R bind:bind /zone && chmod 755 /zone
exec named -g -u bind -c /etc/rehearsal/named.conf
