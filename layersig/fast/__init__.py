"""Every optimised way to run a model. `runner` is the entrance; `plain` computes the same without any of them.

Students read `plain` first: forty lines that say what is computed. The other modules say how it is computed quickly,
and each names its plain twin.
"""
