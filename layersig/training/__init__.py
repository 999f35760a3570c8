"""One loop that trains whatever requires a gradient, and the stages that use it. Read `loop` first."""
