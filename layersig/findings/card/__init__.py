"""What the rigor card demands, topic by topic.

- `demand`: what a row of the card is judged by
- `arms`: comparisons of arms
- `rankings`: rankings and their agreement
- `records`: what the run folder records
- `stated`: what only the recipe can say
"""
