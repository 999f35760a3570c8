"""One client of OpenAI's chat completions API: the judge is asked through it, and a server that writes responses."""
