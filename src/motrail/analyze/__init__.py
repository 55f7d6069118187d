"""What tracks say of the world: paths, speeds, zones and crossings."""
