// Made by build.mjs from the collector's catalogue of metrics; do not edit.
export const DISTRIBUTIONS =
  'lcp_ms inp_ms cls_score fcp_ms ttfb_ms page_load_ms offline_login_duration_ms session_restore_ms sync_duration_ms sync_payload_bytes reconnect_to_synced_ms queue_wait_ms product_search_ms customer_lookup_ms idb_write_ms service_worker_boot_ms network_latency_ms offline_duration_ms sync_100_duration_ms page_load_cached_ms compression_ratio';
export const LEVELS = 'pending_transactions memory_used_mb db_size_mb storage_used_ratio';
/** With the values of the label, if there is one. */
export const COUNTERS =
  'offline_logins:success,failure sync_items_count sync_attempts:success,failure offline_transactions:success,failure conflicts:inventory_shortage,duplicate_transaction,customer_mismatch,session_closed,price_change,loyalty_points,other cache_requests:hit,miss idb_transaction_count mode_switches:online,offline,slow,metered,offline_sync,unknown errors:network,storage_quota,sync,auth,script,other login_failures data_loss_incidents long_animation_frames sync_retries sync_dead_letters:network,server,auth,conflict,invalid,other worker_updates:success,failure cache_assets_requests:hit,miss cache_search_requests:hit,miss cache_data_requests:hit,miss';
