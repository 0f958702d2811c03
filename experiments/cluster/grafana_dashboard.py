"""Prints the Grafana dashboard of the four systems.

python experiments/cluster/grafana_dashboard.py > experiments/cluster/grafana_dashboard.json

Needs `pip install grafana-foundation-sdk`. docs/cluster.md says where Grafana takes the file from.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableOption,
    VariableRefresh,
)

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.metrics import Metric

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SESSION = 'SessionName=~"$SessionName"'
WIDTH, HEIGHT = 8, 8


def gauge(metric: Metric, title: str, unit: str, reduce: str = "avg") -> TimeSeries:
    """What a gauge was last, reduced over the processes that set it.

    A gauge ends with its run, and the window shows it for a while longer.
    """
    series = f"{metric.series}{{{SESSION}}}"
    query = f"{reduce} by ({', '.join(metric.tags)}) (last_over_time({series}[15m]))"
    return _panel(metric, title, unit, query)


def rate(metric: Metric, title: str, unit: str) -> TimeSeries:
    """By how much a counter grows each second, over all processes."""
    by = f" by ({', '.join(metric.tags)})" if metric.tags else ""
    query = f"sum{by} (rate({metric.series}{{{SESSION}}}[$__rate_interval]))"
    return _panel(metric, title, unit, query)


def _panel(metric: Metric, title: str, unit: str, query: str) -> TimeSeries:
    legend = " ".join(f"{{{{{tag}}}}}" for tag in metric.tags) or "all"
    return (
        TimeSeries()
        .title(title)
        .description(metric.help)
        .unit(unit)
        .datasource(SOURCE)
        .span(WIDTH)
        .height(HEIGHT)
        .with_target(Dataquery().expr(query).legend_format(legend).ref_id("A"))
    )


ROWS = {
    "ByzShield": (
        gauge(metrics.BYZSHIELD_ACCURACY, "Test accuracy", "percentunit"),
        gauge(metrics.BYZSHIELD_DISTORTION, "Distortion fraction", "percentunit"),
        rate(metrics.BYZSHIELD_ITERATIONS, "Iterations per second", "ops"),
        rate(metrics.BYZSHIELD_SECONDS, "Where the time goes (seconds per second)", "percentunit"),
        rate(metrics.BYZSHIELD_BYTES, "Bytes from workers per second", "Bps"),
        rate(metrics.BYZSHIELD_EVENTS, "Events per second", "ops"),
    ),
    "IOS": (
        rate(metrics.IOS_MEASURED, "Latencies measured per second", "ops"),
        gauge(metrics.IOS_BEST_LATENCY, "Best latency", "s", "min"),
    ),
    "Value learning": (
        rate(metrics.VALUE_LEARNING_MEASURED, "Schedules measured per second", "ops"),
        gauge(metrics.VALUE_LEARNING_BEST_LATENCY, "Best run time", "s", "min"),
    ),
    "FirePlace": (
        rate(metrics.FIREPLACE_PLACEMENTS, "Placements per second, whole cluster", "ops"),
        gauge(metrics.FIREPLACE_SPEED, "Placements per second, one process", "ops"),
        gauge(metrics.FIREPLACE_PAR, "Peak-to-average ratio", "none"),
    ),
}


def dashboard() -> Dashboard:
    """The dashboard, to be built."""
    session = (
        QueryVariable("SessionName")
        .label("Ray session")
        .datasource(SOURCE)
        .query("label_values(ray_node_network_receive_speed, SessionName)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(text="All", value="$__all"))
    )
    result = (
        Dashboard("mlsys_ray")
        .uid("mlsys-ray")
        .tags(["ray", "mlsys_ray"])
        .refresh("10s")
        .time("now-30m", "now")
        .with_variable(DatasourceVariable("datasource").type("prometheus"))
        .with_variable(session)
    )
    for title, panels in ROWS.items():
        result = result.with_row(Row(title))
        for panel in panels:
            result = result.with_panel(panel)
    return result


if __name__ == "__main__":
    print(JSONEncoder(sort_keys=True, indent=2).encode(dashboard().build()))
