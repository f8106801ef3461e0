exit code 0
decision 1   at the start
  line 3      calls a-0(1)
  line 3      calls a-1(2)
  line 3      waits for a-0
  line 3      waits for a-1
decision 2   2026-01-01 12:00:01   after event 4
  a-0 completed: 5,002 bytes in the ConfigMap w-a-0-vkmaxondhv
  a-1 completed: 5,002 bytes in the ConfigMap w-a-1-6l3o5e32gz
  line 3      calls b-0("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  line 3      waits for b-0
decision 3   2026-01-01 12:00:02   after event 6
  b-0 completed: 2
  the code returned 2
