"""Search over schedules: endings, the dynamic programme, and what it is compared with."""
