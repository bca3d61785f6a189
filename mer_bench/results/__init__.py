"""What runs leave behind and what is made of it: records, statistics, leaderboards. No torch."""
