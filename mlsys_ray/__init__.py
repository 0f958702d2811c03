"""Four MLSys 2021 systems on Ray: IOS, value learning, ByzShield and FirePlace."""

__version__ = "0.1.0"
