"""The cloud dialect (`/pub/v1/`, spec/cattlepi_ignitenet.md part B): sites and devices with origin-merged settings."""
