"""How a JVM is started here: class path, class data archive, flags."""

from rig.paths import ARCHIVE, JARS, RIG

LOG4J = f"-Dlog4j2.configurationFile=file:{RIG / 'log4j2.properties'}"
# For tests: quick to start, small. For what is measured: the JVM's own choice.
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def class_path():
    """All jars in one fixed order: a class data archive fits only its own class path."""
    return ":".join(str(p) for p in sorted(JARS.glob("*.jar")))


def command(main, *args, heap="512m", measured=False, archive=ARCHIVE, flags=()):
    argv = ["java", "-Xshare:auto", f"-Xmx{heap}", *([] if measured else QUICK), *flags]
    if archive is not None and archive.exists():
        argv += [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:class+path=off"]
    return [*argv, LOG4J, "-cp", class_path(), main, *args]
