// Origin: written for this project's measurements, before its code; neutral towards every server (see docs/performance.md).
// dtlsgen HOST PORT MODE(hs|load) DURATION K [PATH]: DTLS1.2 PSK-AES128-CCM8 generator (OpenSSL).  identity "client", key "secretPSK"
// hs: sequential full handshakes (new socket each) for DURATION. load: K established sessions, one outstanding CON GET each.
// idle: establish K sessions, print, wait for stdin line, exit.
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <time.h>
#include <poll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static unsigned psk(SSL*s,const char*h,char*id,unsigned ml,unsigned char*k,unsigned mk){strcpy(id,"client");memcpy(k,"secretPSK",9);return 9;}
static struct sockaddr_in dst;static SSL_CTX*ctx;
typedef struct{SSL*s;int fd;double t;unsigned char tok[4];}sess;
static int conn(sess*e){e->fd=socket(AF_INET,SOCK_DGRAM,0);if(connect(e->fd,(void*)&dst,sizeof dst))return -1;e->s=SSL_new(ctx);BIO*b=BIO_new_dgram(e->fd,BIO_NOCLOSE);
 BIO_ctrl(b,BIO_CTRL_DGRAM_SET_CONNECTED,0,&dst);struct timeval tv={1,0};BIO_ctrl(b,BIO_CTRL_DGRAM_SET_RECV_TIMEOUT,0,&tv);SSL_set_bio(e->s,b,b);SSL_set_options(e->s,SSL_OP_NO_QUERY_MTU);DTLS_set_link_mtu(e->s,1400);
 for(int i=0;i<3;i++){int r=SSL_connect(e->s);if(r==1)return 0;int er=SSL_get_error(e->s,r);if(er!=SSL_ERROR_WANT_READ){ERR_print_errors_fp(stderr);return -1;}DTLSv1_handle_timeout(e->s);}return -1;}
static int cmp(const void*a,const void*b){double x=*(double*)a,y=*(double*)b;return x<y?-1:x>y;}
int main(int c,char**v){if(c<6)return 2;dst.sin_family=AF_INET;inet_pton(AF_INET,v[1],&dst.sin_addr);dst.sin_port=htons(atoi(v[2]));double D=atof(v[4]);int K=atoi(v[5]);const char*path=c>6?v[6]:"hello";
 ctx=SSL_CTX_new(DTLS_client_method());SSL_CTX_set_min_proto_version(ctx,DTLS1_2_VERSION);SSL_CTX_set_max_proto_version(ctx,DTLS1_2_VERSION);SSL_CTX_set_psk_client_callback(ctx,psk);
 const char*ci=getenv("CIPHER");if(!SSL_CTX_set_cipher_list(ctx,ci?ci:"PSK-AES128-CCM8:@SECLEVEL=0")){ERR_print_errors_fp(stderr);return 1;}
 SSL_CTX_set_session_cache_mode(ctx,SSL_SESS_CACHE_OFF);
 static double lat[2000000];long n=0,fail=0;double t0=now();
 if(!strcmp(v[3],"hs")){while(now()-t0<D&&n<2000000){sess e;double t=now();if(conn(&e)){fail++;}else lat[n++]=now()-t;SSL_shutdown(e.s);SSL_free(e.s);close(e.fd);if(fail>20)break;}
  double el=now()-t0;qsort(lat,n,sizeof*lat,cmp);printf("{\"hs_per_s\":%.1f,\"done\":%ld,\"fail\":%ld,\"sec\":%.3f,\"p50_us\":%.0f,\"p99_us\":%.0f}\n",n/el,n,fail,el,n?lat[n/2]*1e6:0,n?lat[(long)(n*.99)]*1e6:0);return 0;}
 sess*e=calloc(K,sizeof*e);for(int i=0;i<K;i++)if(conn(&e[i])){fprintf(stderr,"conn %d failed\n",i);return 1;}
 double ts=now()-t0;
 if(!strcmp(v[3],"idle")){printf("{\"sessions\":%d,\"sec\":%.3f}\n",K,ts);fflush(stdout);char l[8];if(fgets(l,8,stdin)){}return 0;}
 struct pollfd*p=calloc(K,sizeof*p);unsigned short mid=getpid()*7;unsigned seq=0;unsigned char m[128],b[2048];int pl=strlen(path);
 for(int i=0;i<K;i++){int f=fcntl(e[i].fd,F_GETFL);fcntl(e[i].fd,F_SETFL,f|O_NONBLOCK);p[i].fd=e[i].fd;p[i].events=POLLIN;}
 #define SEND(i) do{mid++;seq++;m[0]=0x44;m[1]=1;m[2]=mid>>8;m[3]=mid;memcpy(e[i].tok,&seq,4);memcpy(m+4,&seq,4);m[8]=0xb0|pl;memcpy(m+9,path,pl);e[i].t=now();SSL_write(e[i].s,m,9+pl);}while(0)
 t0=now();long lost=0,bad=0;for(int i=0;i<K;i++)SEND(i);double te=t0+D;double lastact=t0;
 while(now()<te){int got=0;for(int i=0;i<K;i++){int l=SSL_read(e[i].s,b,sizeof b);if(l>=8){got=1;if(b[1]==0)continue;if(memcmp(b+4,e[i].tok,4))continue;if(b[1]>>5!=2||memcmp(b+l-5,"hello",5))bad++;lat[n++]=now()-e[i].t;SEND(i);}
   else if(now()-e[i].t>2){lost++;SEND(i);}}
  if(got)lastact=now();else if(now()-lastact>100e-6)poll(p,K,20);}
 double el=now()-t0;qsort(lat,n,sizeof*lat,cmp);printf("{\"rps\":%.1f,\"done\":%ld,\"lost\":%ld,\"bad\":%ld,\"sec\":%.3f,\"setup_s\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",n/el,n,lost,bad,el,ts,n?lat[n/2]*1e6:0,n?lat[(long)(n*.99)]*1e6:0);return 0;}
