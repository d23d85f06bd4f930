#!/bin/bash
# A Debian package of what is built, for the system that it was built on: package/deb.sh BIN_FOLDER OUT_FOLDER
#
# Promises: only OUT_FOLDER is written; the package holds what install.sh lists, stripped and in Debian's places; nothing
# is enabled by it, and purging leaves the administrator's configuration only if it is not empty of files of others.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
out=$2
tree=$out/tree
arch=$(dpkg --print-architecture)

# 0.1.0 when the tag says so, before that 0.1.0~git and the time of the commit: sorts below the release.
version=$(cat VERSION)
if ! git describe --exact-match --tags >/dev/null 2>&1; then
    version+=~git$(git log -1 --format=%cd --date=format:%Y%m%d%H%M 2>/dev/null || date +%Y%m%d%H%M)
fi
when=$(git log -1 --format=%cD 2>/dev/null || date -R)
# Where this Debian's own packages lay units: from 13 on /lib is a link that no package names.
unitdir=/usr/lib/systemd/system
release=$(. /etc/os-release && echo "${VERSION_ID:-13}") # testing has none
[ "${release%%.*}" -ge 13 ] || unitdir=/lib/systemd/system
# An archive of packages has an address of its own: DEB_MAINTAINER.
maintainer=${DEB_MAINTAINER:-The Ferry authors <ferry@packages.test>}

lay() {
    rm -rf "$out"
    install -d -m 755 "$tree/DEBIAN"
    DESTDIR=$tree PREFIX=/usr SYSCONFDIR=/etc UNITDIR=$unitdir package/install.sh install "$bin"
    local doc=$tree/usr/share/doc/ferry
    rm "$doc/LICENSE" "$doc/NOTICE"
    mkdir -p "$tree/usr/share/zsh/vendor-completions"
    mv "$tree/usr/share/zsh/site-functions/_ferry" "$tree/usr/share/zsh/vendor-completions/_ferry"
    rmdir "$tree/usr/share/zsh/site-functions"
    strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/ferry" "$tree/usr/bin/ferryd"
    gzip -9n "$tree"/usr/share/man/man?/*
    copyright >"$doc/copyright"
    changelog | gzip -9n >"$doc/changelog.gz"
    find "$tree" -type d -exec chmod 755 {} +
}

copyright() {
    cat <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Ferry

Files: *
Copyright: 2026 The Ferry authors
License: Apache-2.0
 On Debian systems the text of the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
EOF
    printf 'Comment:\n'
    sed -n '/^Ferry links/,$p' NOTICE | sed 's/^$/./; s/^/ /'
}

changelog() {
    printf 'ferry (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What changed for a user: /usr/share/doc/ferry/CHANGELOG.md.gz\n'
    printf '\n -- %s  %s\n' "$maintainer" "$when"
}

# Which packages have the libraries that the programs were linked to. (Debian 13 diverts its loader, which changes nothing here.)
depends() {
    local work=$out/shlibs
    mkdir -p "$work/debian"
    printf 'Source: ferry\n\nPackage: ferry\nArchitecture: any\n' >"$work/debian/control"
    local tree_path
    tree_path=$(realpath "$tree")
    (cd "$work" && dpkg-shlibdeps -O -e"$tree_path/usr/bin/ferryd" -e"$tree_path/usr/bin/ferry" 2> >(grep -v diver >&2)) |
        sed -n 's/^shlibs:Depends=//p'
    rm -rf "$work"
}

control() {
    cat <<EOF
Package: ferry
Version: $version
Architecture: $arch
Maintainer: $maintainer
Section: net
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: $(depends), systemd | systemd-standalone-sysusers
Recommends: libsasl2-modules-gssapi-mit
Suggests: bash-completion, prometheus, krb5-user
Description: mirrors Kafka topics to other regions, exactly once
 Ferry copies record batches from a primary Apache Kafka cluster to clusters in
 other regions without opening them, and knows for every offset at the source
 which offset it has at the target.
 .
 This package holds ferryd, the worker, its systemd units, and ferry, the
 command of who operates it. Nothing is started: write /etc/ferry/ferry.json
 first.
EOF
}

scripts() {
    cat >"$tree/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers ferry.conf
    install -d -m 0750 -o root -g ferry /etc/ferry
    install -d -m 0700 -o ferry -g ferry /var/lib/ferry
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
        if [ -n "$2" ]; then
            deb-systemd-invoke try-restart 'ferryd.service' 'ferryd@*.service' >/dev/null || true
        fi
    fi
fi
EOF
    cat >"$tree/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop 'ferryd.service' 'ferryd@*.service' >/dev/null || true
fi
EOF
    cat >"$tree/DEBIAN/postrm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
    if command -v deb-systemd-helper >/dev/null; then
        deb-systemd-helper purge ferryd.service >/dev/null || true
    fi
    # What `systemctl enable` laid names units that are gone.
    for link in "${DPKG_ROOT:-}"/etc/systemd/system/*.wants/ferryd.service \
                "${DPKG_ROOT:-}"/etc/systemd/system/*.wants/ferryd@*.service; do
        if [ -h "$link" ]; then
            rm -f "$link"
        fi
    done
    rm -rf "${DPKG_ROOT:-}/var/lib/ferry"
    if [ -d "${DPKG_ROOT:-}/etc/ferry" ]; then
        rmdir --ignore-fail-on-non-empty "${DPKG_ROOT:-}/etc/ferry"
    fi
fi
EOF
    chmod 755 "$tree"/DEBIAN/p*
    printf '/etc/ferry/ferry.json.example\n' >"$tree/DEBIAN/conffiles"
    (cd "$tree" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
        >"$tree/DEBIAN/md5sums"
    chmod 644 "$tree/DEBIAN/conffiles" "$tree/DEBIAN/md5sums"
}

lay
control >"$tree/DEBIAN/control"
scripts
deb=$out/ferry_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$tree" "$deb" >/dev/null
rm -rf "$tree"
printf '  %-7s %s\n' DEB "$deb"
