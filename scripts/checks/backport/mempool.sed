# the pool is allocated (before 4.18)
s/mempool_t pending_pool/mempool_t *pending_pool/
s/mempool_exit\(&s->pending_pool/mempool_destroy(s->pending_pool/
s/&s->pending_pool\)/s->pending_pool)/
s/mempool_alloc\(&/mempool_alloc(/
s/r = mempool_init_slab_pool\(&s->pending_pool, /s->pending_pool = mempool_create_slab_pool(/
/^static int snapshot_ctr/,/^}/{/mempool_create_slab_pool/{n;s/\(r\)/(!s->pending_pool)/}}
