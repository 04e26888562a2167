# Of grants that are alike the oldest is used first, also where all were given in one instant of a clock that stands.
# A3

at 2026-03-01 09:00
open      ada credit 0.11
grant     ada 0.22
grant     ada 0.33
grant     ada 0.44
grant     ada 0.55
grant     ada 0.66
grant     ada 0.77
grant     ada 1.00 purchased
grant     ada 1.01 purchased
grant     ada 1.02 purchased
grant     ada 1.03 purchased             -> grants 0.11 0.22 0.33 0.44 0.55 0.66 0.77 1.00 1.01 1.02 1.03
spend     ada 0.50                       -> grants 0.16 0.44 0.55 0.66 0.77 1.00 1.01 1.02 1.03
spend     ada 2.80                       -> grants 0.78 1.01 1.02 1.03
