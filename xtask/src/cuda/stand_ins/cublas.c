// A libcublas that counts its products: the amount is floating-point operations.
void stand_in_count(const char *name, double amount);

int cublasCreate_v2(void **handle) { *handle = (void *)80; return 0; }
int cublasDestroy_v2(void *handle) { return 0; }
int cublasSetStream_v2(void *handle, void *stream) { return 0; }
int cublasSetMathMode(void *handle, int mode) { return 0; }
int cublasSetWorkspace_v2(void *handle, void *workspace, unsigned long bytes) { return 0; }

static int product(double m, double n, double k, double batch) {
    if (m <= 0 || n <= 0 || k <= 0 || batch <= 0) return 7; // CUBLAS_STATUS_INVALID_VALUE
    stand_in_count("product", 2 * m * n * k * batch);
    return 0;
}
int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k) { return product(m, n, k, 1); }
int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k,
                               const void *alpha, const void *a, int a_type, int lda, long long sa,
                               const void *b, int b_type, int ldb, long long sb, const void *beta,
                               void *c, int c_type, int ldc, long long sc, int batch, int compute,
                               int algorithm) {
    return product(m, n, k, batch);
}
int cublasDgemmStridedBatched(void *handle, int ta, int tb, int m, int n, int k,
                              const void *alpha, const void *a, int lda, long long sa,
                              const void *b, int ldb, long long sb, const void *beta, void *c,
                              int ldc, long long sc, int batch) {
    return product(m, n, k, batch);
}
