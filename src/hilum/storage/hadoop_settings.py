"""Where WebHDFS of a name node listens, from the settings Hadoop's own clients read.

`hdfs://host:port` names the port of Hadoop's binary protocol; HTTP is on another one, which only
`hdfs-site.xml` tells. Names of settings: hdfs-default.xml of Apache Hadoop 3.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from hilum.errors import InvalidValueError, require

__all__ = ["hadoop_settings", "namenode_addresses", "read_site", "uses_kerberos"]

OVERRIDE = "HILUM_WEBHDFS"
_IN_CONTAINERS = "__spark_conf__/__hadoop_conf__"
_DEFAULT_PORTS = {"http": 9870, "https": 9871}


def hadoop_settings() -> dict[str, str]:
    """What core-site.xml and hdfs-site.xml say; empty without them.

    They are looked for in HADOOP_CONF_DIR, else where Spark puts the driver's into YARN's
    containers.
    """
    folder = Path(os.environ.get("HADOOP_CONF_DIR") or _IN_CONTAINERS)
    return read_site(folder / "core-site.xml") | read_site(folder / "hdfs-site.xml")


def read_site(path: Path) -> dict[str, str]:
    """Names and values of one of Hadoop's settings files; empty where there is none.

    Raises:
        InvalidValueError: the file is no XML.
    """
    if not path.is_file():
        return {}
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InvalidValueError(f"{path} must be XML. Got: {error}.") from error
    return {
        entry.findtext("name", "").strip(): entry.findtext("value", "").strip()
        for entry in root.iter("property")
    }


def uses_kerberos(settings: Mapping[str, str]) -> bool:
    """Whether the cluster asks for Kerberos tickets."""
    return settings.get("hadoop.security.authentication", "simple").lower() == "kerberos"


def namenode_addresses(url: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses of WebHDFS, such as `http://host:9870`, for an `hdfs://` URL; several with HA.

    HILUM_WEBHDFS wins (one or several, with commas), then hdfs-site.xml, then Hadoop's own port on
    the host of the URL.

    Raises:
        InvalidValueError: the URL names no host and fs.defaultFS none either.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        return tuple(part.strip().rstrip("/") for part in override.split(","))
    authority = urlsplit(url).netloc.rpartition("@")[2]
    default = urlsplit(settings.get("fs.defaultFS", ""))
    if not authority and default.scheme == "hdfs":
        authority = default.netloc
    require(
        authority != "",
        "an hdfs:// URL",
        "hdfs://HOST:PORT/PATH, or hdfs:///PATH with fs.defaultFS in HADOOP_CONF_DIR",
        url,
    )
    scheme = "https" if settings.get("dfs.http.policy", "") == "HTTPS_ONLY" else "http"
    key = f"dfs.namenode.{scheme}-address"
    nodes = settings.get(f"dfs.ha.namenodes.{authority}", "")
    if nodes:
        names = [f"{key}.{authority}.{node.strip()}" for node in nodes.split(",")]
        return tuple(f"{scheme}://{settings[name]}" for name in names if name in settings)
    host = authority.partition(":")[0]
    own = authority in (default.netloc, settings.get("dfs.namenode.rpc-address"))
    listens = settings.get(f"{key}.{authority}") or (settings.get(key, "") if own else "")
    if listens:
        return (f"{scheme}://{listens.replace('0.0.0.0', host)}",)
    return (f"{scheme}://{host}:{_DEFAULT_PORTS[scheme]}",)
