"""How a JVM is started here: class path, class data archive, flags."""

import fcntl
import subprocess

from rig.paths import ARCHIVE, BUILD, JARS, RIG

LOG4J = f"-Dlog4j2.configurationFile=file:{RIG / 'log4j2.properties'}"
# For tests: quick to start, small. For what is measured: the JVM's own choice.
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def class_path():
    """All jars in one fixed order: a class data archive fits only its own class path."""
    return ":".join(str(p) for p in sorted(JARS.glob("*.jar")))


def compiled(name):
    """The folder of a class of tests/rig/java, compiled once."""
    source, folder = RIG / "java" / f"{name}.java", BUILD / "java"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / f"{name}.class"
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["javac", "-cp", class_path(), "-d", folder, source], check=True, timeout=120)
    return folder


def command(main, *args, heap="512m", measured=False, archive=ARCHIVE, flags=(), classes=None):
    """`classes`: a folder of them, behind the jars."""
    argv = ["java", "-Xshare:auto", f"-Xmx{heap}", *([] if measured else QUICK), *flags]
    if archive is not None and archive.exists():
        argv += [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:class+path=off"]
    path = class_path() if classes is None else f"{class_path()}:{classes}"
    return [*argv, LOG4J, "-cp", path, main, *args]
