# Abuse rules: who may sign up, which accounts are blocked, whose free credit waits for a person.
# A1, U1

policy sign-up yes
policy credit 2.00
at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# Without a rule whoever has an address has an account, with its credit.
sign-up   ada ada@one.example.com        -> UNSUSPENDED, credit 2.00, flags none

# A domain is blocked with all below it: accounts that are there are suspended, and nobody signs up.
rule      wide domain example.com blocked "one person, many accounts"
show      ada                            -> BLOCKED_BY_ABUSE_RULE, credit 2.00, flags BLOCKED
sign-up   bob bob@example.com            -> refused 403 "ask the operator of this gateway"
sign-up   bob bob@two.example.com        -> refused 403 "ask the operator of this gateway"
open      eve                            -> refused 409 "(DOMAIN example.com) blocks it"

# Letting in is refused while the rule stands, and ending the rule lets nobody in by itself.
reinstate ada                            -> refused 409 "(DOMAIN example.com) blocks account ada", unchanged
rule      one domain two.example.com allowed "a customer of ours"
sign-up   bob bob@two.example.com        -> UNSUSPENDED, credit 2.00
unrule    wide
show      ada                            -> BLOCKED_BY_ABUSE_RULE
reinstate ada                            -> UNSUSPENDED, flags none

# An account's own rule stands above all others.
rule      own account ada allowed "known to us"
rule      wide domain example.com blocked "again"
show      ada                            -> UNSUSPENDED, flags none
show      bob                            -> UNSUSPENDED, flags none
unrule    one
show      bob                            -> BLOCKED_BY_ABUSE_RULE, flags BLOCKED
unrule    own
show      ada                            -> BLOCKED_BY_ABUSE_RULE
unrule    wide

# A network: no account and no link from there, and whoever is there stays.
rule      net ip 198.51.100.0/24 blocked "a botnet"
sign-up   cyd cyd@example.net from 198.51.100.7  -> refused 403 "ask the operator of this gateway"
rule      host ip 198.51.100.7 suspicious "a proxy in it"
sign-up   cyd cyd@example.net from 198.51.100.7  -> CREDIT_DEPLETED, credit 0.00, flags SUSPICIOUS
spend     cyd 0.01                       -> refused 412 "is suspended", unchanged

# A person has looked: the credit that waited is given, once.
clear     cyd                            -> UNSUSPENDED, credit 2.00, flags none
clear     cyd                            -> refused 409 "no flag", unchanged
sign-up   dan dan@example.net from 198.51.100.7  -> CREDIT_DEPLETED, flags SUSPICIOUS
clear     dan no-credit                  -> CREDIT_DEPLETED, credit 0.00, flags none
clear     dan                            -> refused 409 "no flag", unchanged

# The operator's own block needs no rule, and is lifted by the operator alone.
suspend   cyd "scraping"                 -> BLOCKED_BY_ABUSE_RULE, flags none
reinstate cyd                            -> UNSUSPENDED
rule      cyd account cyd blocked "scraping"
show      cyd                            -> BLOCKED_BY_ABUSE_RULE, flags BLOCKED
rule      twice account cyd allowed "no"  -> refused 409 "says BLOCKED of it already"

# At sign-up the credit is there at once: a card that two accounts share shows the operator, and takes nothing back.
sign-up   fay fay@example.net            -> credit 2.00
card      fay visa@fay                   -> credit 2.00, flags none
sign-up   gus gus@example.net            -> credit 2.00
card      gus visa@fay                   -> credit 2.00, flags SHARED_CARD, UNSUSPENDED
card      fay visa@fay                   -> flags none
open      hal credit 0
card      hal visa@fay                   -> flags none
