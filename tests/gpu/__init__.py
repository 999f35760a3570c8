"""What only a GPU can show: tests marked `cuda`, and cases that are measured; `make gpu` runs both.

- `shapes`: random models of published shapes, made on the device, and conversations
- `cases`: what is measured; each in a process of its own (`case`), within its share of the time (`halves`)
- `page`: docs/gpu.md, from what was measured alone

With `--device cpu --tiny` all of it runs on a CPU, to see that it works; its figures then mean nothing.
"""
