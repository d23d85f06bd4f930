#!/bin/bash
# Everything that building and testing Ferry needs, once: packages, libraries, Kafka's jars, a Python environment.
#
# usage: tools/setup.sh [--plan] [STAGE...]      stages: packages libraries python jars broker promtool nameservers kerberos
#
# Promises: a stage that is up to date costs nothing and needs no network; nothing outside build/ is written except by
# apt; sudo is used for apt alone, and only when we are not root; no service is started or enabled.
# Two stages run only when they are named: build-packages (what compiling needs, without the tests') and engine.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
build=$root/build
deps=$build/deps
stamps=$build/stamps
jobs=$(nproc)
unset MAKEFLAGS MFLAGS MAKELEVEL # ours say --no-builtin-rules, which other projects' Makefiles stand on

# Where a system has older ones they are built from Debian's own source packages. librdkafka before 2.11 frees memory twice
# when a topic is deleted and created again (docs/adr/0007-librdkafka-2.11.md).
rdkafka_min=2.11.0
hiredis_min=1.2.0
rdkafka_suite=forky
hiredis_suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

build_packages=(gcc make pkg-config git ca-certificates debian-archive-keyring dpkg-dev libc6-dev
    libevent-dev libjansson-dev libcurl4-openssl-dev libssl-dev libsasl2-dev
    libzstd-dev liblz4-dev libsnappy-dev zlib1g-dev libldns-dev libexpat1-dev)
test_packages=(libcmocka-dev iproute2 python3 python3-venv openssl redis-tools maven
    clang libclang-rt-dev clang-tidy cppcheck shellcheck
    systemd lintian man-db libsasl2-modules-gssapi-mit)

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "packages are missing and we are neither root nor have sudo; as root: $*"
    fi
}

# What the archive has, asked once: apt reads its whole index for every question, which takes seconds.
archive=
ask_archive() {
    library_ok rdkafka $rdkafka_min && library_ok hiredis $hiredis_min && return 0
    archive=$(apt-cache show --no-all-versions librdkafka-dev libhiredis-dev 2>/dev/null |
        awk '/^Package:/ {name = $2} /^Version:/ {print name, $2}' || true)
}

# A library that the system has in our version is a package; else it is built into build/deps.
packaged() { # package, least version
    local have
    have=$(awk -v name="$1" '$1 == name {print $2; exit}' <<<"$archive")
    [ -n "$have" ] && dpkg --compare-versions "$have" ge "$2"
}

java_ok() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p;T;q')
    [ "${version:-0}" -ge 17 ]
}

# Ours in build/deps, or the system's.
library_ok() { # name, least version
    PKG_CONFIG_PATH=$deps/lib/pkgconfig pkg-config --atleast-version="$2" "$1" 2>/dev/null
}

missing_packages() { # "build" for what compiling needs, else all
    local wanted=("${build_packages[@]}")
    library_ok rdkafka $rdkafka_min || ! packaged librdkafka-dev $rdkafka_min || wanted+=(librdkafka-dev)
    library_ok hiredis $hiredis_min || ! packaged libhiredis-dev $hiredis_min || wanted+=(libhiredis-dev)
    if [ "${1:-}" != build ]; then
        wanted+=("${test_packages[@]}")
        java_ok || wanted+=(default-jre-headless)
    fi
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
        awk -v wanted="${wanted[*]}" '$1 == "installed" {have[$2] = 1}
            END {n = split(wanted, all, " "); for (i = 1; i <= n; i++) if (!(all[i] in have)) print all[i]}'
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

install_missing() { # as missing_packages
    local missing=()
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    ask_archive # versions are known only now
    mapfile -t missing < <(missing_packages "$@")
    install_packages "${missing[@]}"
}

stage_build-packages() {
    install_missing build
}

stage_packages() {
    install_missing
    # One binary is the server and the checker of dumps: its name decides. So no package with a service is needed.
    mkdir -p "$deps/bin"
    ln -sf /usr/bin/redis-check-rdb "$deps/bin/redis-server"
    "$deps/bin/redis-server" --version
}

# Where this machine gets Debian from, in its own words (never written into the repository).
debian_uri() {
    local codename
    codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        awk -v codename="$codename" '$2 == codename && $3 == "main" && ($4 == "Debian" || $4 == "") {print $1; exit}'
}

# apt with list files of our own: the machine's sources stay as they are, and apt checks the archive's signature and each
# file's hash. Its options are in `apt_own` afterwards.
own_lists() { # folder, deb or deb-src, suite...
    local uri suite apt=$1 kind=$2
    uri=$(debian_uri)
    [ -n "$uri" ] || die "no Debian archive in this machine's apt sources"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    for suite in "${@:3}"; do
        printf '%s [signed-by=%s] %s %s main\n' "$kind" $keyring "$uri" "$suite"
    done >"$apt/sources.list"
    apt_own=(-q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
    apt-get update "${apt_own[@]}"
}

fetch_sources() {
    own_lists "$deps/apt" deb-src $rdkafka_suite $hiredis_suite
    mkdir -p "$deps/src"
    (cd "$deps/src" && apt-get source --download-only "${apt_own[@]}" "$@")
}

unpack() { # name: prints the folder
    local tree=$deps/src/$1
    rm -rf "$tree"
    mkdir -p "$tree"
    tar -C "$tree" --strip-components=1 -xf "$(find "$deps/src" -maxdepth 1 -name "$1_*.orig.tar.*" ! -name '*.asc' | sort -V | tail -1)"
    printf '%s\n' "$tree"
}

# Only the archive is kept, so that ferryd carries what the system has too old and nothing else (--enable-static would
# also swap the system's lz4 for one of its own). Threads by pthread: thread sanitizers do not know C11's.
# CXX: its configure wants a C++ compiler, which the C library has no use for.
build_rdkafka() {
    local tree
    tree=$(unpack librdkafka)
    (cd "$tree" && CXX=gcc ./configure --prefix="$deps" --libdir="$deps/lib" --disable-debug-symbols --disable-c11threads &&
        make -j"$jobs" -C src && make -C src install)
    rm -f "$deps"/lib/librdkafka.so* "$deps"/lib/librdkafka-static.a "$deps"/lib/pkgconfig/rdkafka-static.pc
    rm -rf "$tree"
}

build_hiredis() {
    local tree
    tree=$(unpack hiredis)
    make -C "$tree" -j"$jobs" USE_SSL=1 PREFIX="$deps" static hiredis.pc hiredis_ssl.pc
    mkdir -p "$deps/include/hiredis/adapters" "$deps/lib/pkgconfig"
    (cd "$tree" && cp hiredis.h async.h read.h sds.h alloc.h sockcompat.h hiredis_ssl.h "$deps/include/hiredis/" &&
        cp adapters/libevent.h "$deps/include/hiredis/adapters/" &&
        cp libhiredis.a libhiredis_ssl.a "$deps/lib/" && cp hiredis.pc hiredis_ssl.pc "$deps/lib/pkgconfig/")
    rm -rf "$tree"
}

stage_libraries() {
    local wanted=()
    pkg-config --atleast-version=$rdkafka_min rdkafka 2>/dev/null || wanted+=("librdkafka/$rdkafka_suite")
    pkg-config --atleast-version=$hiredis_min hiredis 2>/dev/null || wanted+=("hiredis/$hiredis_suite")
    [ ${#wanted[@]} -gt 0 ] || return 0
    fetch_sources "${wanted[@]}"
    local name
    for name in "${wanted[@]%/*}"; do
        "build_${name#lib}"
    done
}

# What test-long tries the images, the rehearsal and the package on: a container engine, its compose, and a clean Debian 13 as
# others pull it from a hub. The engine's packages would start services, so they are unpacked, not installed. Only root can
# start it. Debian 12's own compose is version 1: that of 13 runs there. iptables: the engine's resolver in a container needs it.
engine_packages=(docker.io docker-cli containerd runc)
engine_plugins=(docker-compose docker-buildx)
engine_suite=trixie
stage_engine() {
    [ "$(id -u)" = 0 ] || {
        echo 'only root can start a container engine: nothing to set up'
        return 0
    }
    local apt=$deps/apt/engine engine=$deps/engine archive names=()
    apt-get update -q
    install_packages debootstrap iptables libdevmapper1.02.1 libseccomp2
    mapfile -t names < <(apt-cache pkgnames | grep -xF "$(printf '%s\n' "${engine_packages[@]}")")
    rm -rf "$apt" "$engine"
    mkdir -p "$apt" "$engine"
    (cd "$apt" && apt-get download -q "${names[@]}")
    own_lists "$apt/own" deb $engine_suite
    (cd "$apt" && apt-get download "${apt_own[@]}" "${engine_plugins[@]}")
    for archive in "$apt"/*.deb; do
        dpkg-deb -x "$archive" "$engine"
    done
    rm -rf "$apt"
    debootstrap --variant=minbase $engine_suite "$engine/root" "$(debian_uri)"
    rm -rf "$engine"/root/var/cache/apt/archives/*.deb "$engine"/root/var/lib/apt/lists/*
    # as in the image that others pull; and how this machine talks to its archive goes along
    echo force-unsafe-io >"$engine/root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
    apt-config dump | grep -E '^Acquire::(https?::Proxy|Retries|Check-)' >"$engine/root/etc/apt/apt.conf.d/00machine" || true
    tar -C "$engine/root" -cf "$engine/$engine_suite.tar" .
    rm -rf "$engine/root"
}

stage_python() {
    [ -x "$build/venv/bin/pip" ] || /usr/bin/python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt
}

stage_jars() {
    mkdir -p "$build/kafka"
    rm -rf "$build/kafka/jars"
    mvn -q -B -Dmaven.repo.local="$build/m2" -f tests/rig/pom.xml \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DoutputDirectory="$build/kafka/jars"
}

# One formatted log folder to copy, and class data for quick starts: both are made by one start of a broker.
stage_broker() {
    PYTHONPATH=tests "$build/venv/bin/python" -m rig.prepare
}

# The checker of rules and metrics alone. Debian 12 has it in a package that would start a server, so it is unpacked, not
# installed; from 13 on it has a package of its own.
stage_promtool() {
    local apt=$deps/apt/prometheus
    rm -rf "$apt"
    mkdir -p "$apt/tree" "$deps/bin"
    (cd "$apt" && { fetch_promtool || { as_root apt-get update -q && fetch_promtool; }; } && dpkg-deb -x ./*.deb tree)
    cp "$apt/tree/usr/bin/promtool" "$deps/bin/promtool"
    rm -rf "$apt"
    "$deps/bin/promtool" --version
}

# BIND, Knot and PowerDNS; a KDC: their packages would start servers, so these and the libraries they need are unpacked, not
# installed.
nameserver_packages=(bind9 knot pdns-server pdns-backend-sqlite3)
stage_nameservers() {
    unpack_packages nameservers "${nameserver_packages[@]}"
}

kerberos_packages=(krb5-kdc krb5-admin-server krb5-user)
stage_kerberos() {
    unpack_packages kerberos "${kerberos_packages[@]}"
}

unpack_packages() { # name of the folder, packages
    local apt=$deps/apt/$1 tree=$deps/$1 archive
    rm -rf "$apt" "$tree"
    mkdir -p "$apt" "$tree"
    fetch_packages "$apt" "${@:2}" || { as_root apt-get update -q && fetch_packages "$apt" "${@:2}"; }
    for archive in "$apt"/*.deb; do
        dpkg-deb -x "$archive" "$tree"
    done
    rm -rf "$apt"
}

fetch_packages() { # folder, packages
    local names
    names=$(apt-get install --print-uris -y -q --no-install-recommends "${@:2}" |
        awk '/^\047/ {sub(/_.*/, "", $2); print $2}') || return 1
    # shellcheck disable=SC2086 # names, one a word; those that are installed here are not among what is missing
    (cd "$1" && printf '%s\n' $names "${@:2}" | sort -u | xargs apt-get download -q)
}

fetch_promtool() {
    apt-get download -q promtool || apt-get download -q prometheus
}

# What a stage depends on: when this text is what it was, the stage is done.
inputs() {
    case $1 in
    packages)
        missing_packages
        printf '%s\n' "${build_packages[@]}" "${test_packages[@]}"
        ;;
    build-packages)
        missing_packages build
        printf '%s\n' "${build_packages[@]}"
        ;;
    engine) printf '%s\n' "${engine_packages[@]}" "${engine_plugins[@]}" $engine_suite "$deps" "$(id -u)" "$(. /etc/os-release && echo "$VERSION_ID")" ;;
    libraries) printf '%s\n' $rdkafka_min $hiredis_min $rdkafka_suite $hiredis_suite "$deps" "$(. /etc/os-release && echo "$VERSION_ID")" ;;
    python) cat tests/requirements.txt && /usr/bin/python3 --version && printf '%s\n' "$build" ;;
    jars) cat tests/rig/pom.xml ;;
    broker) cat tests/rig/{pom.xml,old-kafka.xml,prepare.py,jvm.py} && java -version 2>&1 && printf '%s\n' "$build" ;;
    promtool) printf '%s\n' "$deps" "$(. /etc/os-release && echo "$VERSION_ID")" ;;
    nameservers) printf '%s\n' "${nameserver_packages[@]}" "$deps" "$(. /etc/os-release && echo "$VERSION_ID")" ;;
    kerberos) printf '%s\n' "${kerberos_packages[@]}" "$deps" "$(. /etc/os-release && echo "$VERSION_ID")" ;;
    *) die "unknown stage '$1'" ;;
    esac
}

digest() {
    inputs "$1" | sha256sum | cut -d' ' -f1
}

stage() {
    local name=$1 began stamp=$stamps/$1 log=$build/setup-$1.log
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(digest "$name")" ]; then
        return 0
    fi
    began=$(date +%s)
    printf 'setup: %-10s (%s) ' "$name" "$(takes "$name")"
    mkdir -p "$stamps"
    rm -f "$stamp"
    # A subshell of its own: `set -e` is off inside a condition.
    set +e
    (
        set -e
        "stage_$name"
    ) >"$log" 2>&1 </dev/null
    local rc=$?
    set -e
    if [ $rc -ne 0 ]; then
        printf 'failed after %d s\n' $(($(date +%s) - began))
        tail -n 30 "$log" >&2
        die "stage '$name' failed; everything it said is in ${log#"$root"/}"
    fi
    digest "$name" >"$stamp"
    printf '%d s\n' $(($(date +%s) - began))
}

# How long on two cores and an ordinary connection, so that nobody takes waiting for hanging.
takes() {
    case $1 in
    packages) printf 'up to 2 min' ;;
    build-packages | engine) printf 'about 1 min' ;;
    libraries) printf 'about 90 s' ;;
    python) printf 'about 1 min' ;;
    broker) printf 'about 20 s' ;;
    jars) printf 'about 30 s' ;;
    promtool | nameservers | kerberos) printf 'about 5 s' ;;
    esac
}

stages=(packages libraries python jars broker promtool nameservers kerberos)

# What a run would do, for a person to agree to.
plan() {
    local missing=() name todo=()
    mapfile -t missing < <(missing_packages)
    for name in "${stages[@]}"; do
        [ -f "$stamps/$name" ] && [ "$(cat "$stamps/$name")" = "$(digest "$name")" ] || todo+=("$name")
    done
    if [ ${#todo[@]} -eq 0 ]; then
        printf '  set-up: nothing to do, no network needed\n'
        return 0
    fi
    printf '  set-up, once, into build/:\n'
    for name in "${todo[@]}"; do
        printf '    %-10s %s, %s\n' "$name" "$(does "$name" "${missing[@]}")" "$(takes "$name")"
    done
    if [ ${#missing[@]} -gt 0 ]; then
        [ "$(id -u)" = 0 ] || printf '    sudo is used for apt alone, and asks for your password once\n'
        printf '    packages to install: %s\n' "${missing[*]}" | fold -s -w 116 | sed '2,$s/^/      /'
    fi
}

# What apt would fetch, dependencies included; a machine without package lists does not know yet.
fetch_mb() {
    apt-get install --print-uris -y -q --no-install-recommends "$@" 2>/dev/null |
        awk '/^\047/ {bytes += $3} END {print bytes ? int(bytes / 1e6) + 1 : "up to 400"}'
}

does() { # stage, missing packages
    case $1 in
    packages) if [ $# -gt 1 ]; then
        printf '%d Debian packages by apt (%s MB to fetch, four times that on disk)' $(($# - 1)) "$(fetch_mb "${@:2}")"
    else
        printf 'all Debian packages are here: nothing to fetch'
    fi ;;
    libraries) printf 'librdkafka and hiredis where too old here, from Debian sources (16 MB to fetch)' ;;
    python) printf 'clients for the producers and the proof, SDKs of DNS providers (80 MB to fetch, 380 MB on disk)' ;;
    jars) printf 'Apache Kafka and MirrorMaker 2 by Maven (80 MB to fetch, 150 MB on disk)' ;;
    promtool) printf 'the checker of alert rules, unpacked from a Debian package (25 MB to fetch)' ;;
    nameservers) printf 'BIND, Knot and PowerDNS for the tests, unpacked from Debian packages (6 MB to fetch)' ;;
    kerberos) printf 'a KDC for the tests, unpacked from Debian packages (2 MB to fetch)' ;;
    broker) printf 'class data for quick broker starts, Kafka 2.3 for tests of old ones (30 MB to fetch, 70 MB on disk)' ;;
    esac
}

ask_archive
if [ "${1:-}" = --plan ]; then
    plan
    exit 0
fi
[ $# -gt 0 ] || set -- "${stages[@]}"
# Ask for the password before output goes to a log.
if [ "$(id -u)" != 0 ] && [ -n "$(missing_packages)" ] && command -v sudo >/dev/null; then
    sudo -v || die "sudo is needed once, for apt"
fi
for name in "$@"; do
    stage "$name"
done
