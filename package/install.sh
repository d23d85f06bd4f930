#!/bin/bash
# What `make install` and `make uninstall` do; the Makefile hands in what was built and where it goes.
#
# usage: package/install.sh install|uninstall|list BIN_FOLDER     variables: DESTDIR PREFIX SYSCONFDIR UNITDIR
#
# Promises: nothing outside DESTDIR; a configuration that is there is never touched; uninstall removes what install laid
# and no more.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1
from=$2
dest=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
sysconfdir=${SYSCONFDIR:-/etc}
# systemd looks into /usr/local/lib and /usr/lib alike.
lib=$prefix/lib
unitdir=${UNITDIR:-$lib/systemd/system}
share=$prefix/share

# mode, file here, place there
files() {
    cat <<EOF
755 $from/ferry $prefix/bin/ferry
755 $from/ferryd $prefix/bin/ferryd
644 docs/man/ferry.1 $share/man/man1/ferry.1
644 docs/man/ferryd.8 $share/man/man8/ferryd.8
644 docs/completions/ferry.bash $share/bash-completion/completions/ferry
644 docs/completions/_ferry $share/zsh/site-functions/_ferry
644 unit:ferryd.service $unitdir/ferryd.service
644 unit:ferryd@.service $unitdir/ferryd@.service
644 package/ferry.sysusers $lib/sysusers.d/ferry.conf
644 package/ferry.tmpfiles $lib/tmpfiles.d/ferry.conf
644 package/ferry.json.example $sysconfdir/ferry/ferry.json.example
644 README.md $share/doc/ferry/README.md
644 CHANGELOG.md $share/doc/ferry/CHANGELOG.md
644 NOTICE $share/doc/ferry/NOTICE
644 LICENSE $share/doc/ferry/LICENSE
644 docs/configuration.md $share/doc/ferry/configuration.md
644 docs/faults.md $share/doc/ferry/faults.md
644 docs/metrics.md $share/doc/ferry/metrics.md
644 docs/alerts.yaml $share/doc/ferry/alerts.yaml
644 docs/grafana.json $share/doc/ferry/grafana.json
EOF
}

# A unit with its places and the hardening that both share.
unit() {
    sed -e "s|@bindir@|$prefix/bin|" -e '/^@hardening@$/{r package/hardening.conf
d}' "package/$1.in"
}

lay() { # mode, file here, place there
    case $2 in
    unit:*)
        install -d -m 755 "$(dirname "$dest$3")"
        unit "${2#unit:}" >"$dest$3"
        chmod "$1" "$dest$3"
        ;;
    *) install -D -m "$1" "$2" "$dest$3" ;;
    esac
}

each() { # function
    local mode file place
    while read -r mode file place; do
        "$1" "$mode" "$file" "$place"
    done < <(files)
}

take_away() {
    rm -f "$dest$3"
}

show() {
    printf '%s\n' "$3"
}

case $what in
install) each lay ;;
uninstall)
    each take_away
    rmdir --ignore-fail-on-non-empty "$dest$share/doc/ferry" "$dest$sysconfdir/ferry" 2>/dev/null || true
    ;;
list) each show ;;
*)
    printf 'usage: %s install|uninstall|list BIN_FOLDER\n' "$0" >&2
    exit 2
    ;;
esac
