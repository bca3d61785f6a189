"""The leaderboard as one HTML file that needs nothing else: the same model as the markdown pages, rendered again."""
