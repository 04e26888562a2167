# The older table of tiers is one setting away: $100, $1,000 and $10,000.
# L2, S16 S17

policy tiers 100:500 1000:5000 10000:50000
at 2026-03-01 09:00
open      ada
card      ada visa
buy       ada 50.00                      -> tier 1, max 50.00
buy       ada 50.00                      -> tier 2, max 500.00, historical 100.00
buy       ada 900.00                     -> tier 3, max 5000.00
