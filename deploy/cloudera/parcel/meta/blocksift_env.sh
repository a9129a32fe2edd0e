#!/bin/bash
# Read by Cloudera's agent before it starts a role: where the activated parcel is.
export BLOCKSIFT_HOME="$PARCELS_ROOT/$PARCEL_DIRNAME"
