# A price set for later changes only the models it names: what is published before it comes stays.
# P1

at 2026-03-01 09:00
prices tiny in 1 out 1
prices small in 1 out 1
open      ada credit 0
card      ada visa
prices    tiny in 5 out 5 from 2026-04-01
prices    small in 2 out 2               # at once, and still in April
prices    new in 3 out 3                 # priced first after April's prices were set
prices    small in 4 out 4 from 2026-03-20
usage     ada tiny in 1000000 out 0      -> spent 1.00
usage     ada small in 1000000 out 0     -> spent 3.00
at        2026-03-20
usage     ada small in 1000000 out 0     -> spent 7.00
usage     ada new in 1000000 out 0       -> spent 10.00

at        2026-04-01
usage     ada tiny in 1000000 out 0      -> spent 5.00
usage     ada small in 1000000 out 0     -> spent 9.00
usage     ada new in 1000000 out 0       -> spent 12.00

# What the later one names itself keeps its later price.
prices    tiny in 7 out 7 from 2026-05-01
prices    tiny in 6 out 6
usage     ada tiny in 1000000 out 0      -> spent 18.00
at        2026-05-01
usage     ada tiny in 1000000 out 0      -> spent 7.00
usage     ada small in 1000000 out 0     -> spent 11.00
