"""Where a command's Spark runs, and with what: the same for every command that uses Spark."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.errors import require

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What was typed; see `hilum.spark.local_session` for what each means in full."""

    master: Annotated[
        str,
        typer.Option(
            "--master",
            help="Spark master: local[N], local-cluster[N,CORES,MIB], spark://, yarn, k8s://.",
            rich_help_panel="Spark",
        ),
    ] = "local[*]"
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            help="What `hilum pack` wrote, for executors that have no Hilum: .tar.gz or .zip.",
            rich_help_panel="Spark",
        ),
    ] = None
    conf: Annotated[
        list[str],
        typer.Option(
            "--conf",
            help="NAME=VALUE, a setting of Spark. May be given several times.",
            rich_help_panel="Spark",
        ),
    ] = field(default_factory=list)

    def start(self) -> "SparkSession":
        """The session that these options describe."""
        from hilum.spark import local_session

        for setting in self.conf:
            require("=" in setting, "--conf", "NAME=VALUE", setting)
        config = dict(setting.split("=", 1) for setting in self.conf)
        return local_session(self.master, config=config, environment=self.environment)
