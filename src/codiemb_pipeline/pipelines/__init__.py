"""The rim: one thin Kedro pipeline per stage. Logic lives in the stages."""
