"""`python -m mlsys_ray` is the `mlsys-ray` command."""

import sys

from mlsys_ray.cli import main

sys.exit(main())
