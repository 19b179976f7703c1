"""The jobs that core brings, and what they are made of. No branch here tests which plugin it has."""
